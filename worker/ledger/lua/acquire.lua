-- Makes the caller the owner of a job: of the first one in the queue, or of `id` if the queue is empty or the caller does
-- not ask for the first. Returns {'missing'}, {'ended'}, {'held'}, {'paused'}, {'delayed'}, {'unreadable'},
-- {'newer', oldest version that may} or {'acquired', id, epoch, spec, attempts, commits, tries, whether a transcript exists
-- (0/1), unread, shortages, {content, keyed, began, restarts, restarted}}. Commits of earlier owners stay; the new owner
-- continues after them. A repeated call of the same owner gets the same job and does not count as another attempt: its
-- first answer may have been lost, or replicas have not confirmed it yet.
-- ARGV: id, owner, lease_ms, ttl_ms, prefix of job keys to take the first of the queue or '', version of the caller and
--       oldest version that can read its records
local job, commits = KEYS[4], KEYS[5]
local id, owner, lease_ms, ttl_ms, prefix, version, reader = unpack(ARGV)
local newer = register(version, reader, ttl_ms)
if newer ~= '' then return {'newer', newer} end

if prefix ~= '' then
  -- The answer is stored, so that a repeated call of the same owner gets the same job and not a second one.
  local answer = KEYS[2] .. ':answer:' .. owner
  local first = redis.call('GET', answer)
  while not first do
    local front = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    if not front[1] then break end
    if field(prefix .. front[1], 'state') == 'queued' then
      first = front[1]
      local level, round = math.floor(front[2] / LEVEL), front[2] % LEVEL
      -- Round 0 is outside the rotation: such a job was interrupted and continues first.
      if round > 0 then redis.call('HSET', turns, 'served ' .. level, text(round)) end
    else
      remove_from_queue(prefix .. front[1], front[1])  -- its record has expired or is invalid
    end
  end
  if first then
    id, job, commits = first, prefix .. first, prefix .. first .. ':commits'
    redis.call('SET', answer, first, 'PX', lease_ms)
  end
end

local kind = redis.call('TYPE', job).ok
if kind ~= 'hash' and kind ~= 'none' then
  -- Another program has written to this key. The job is lost, but it must not come up again and again.
  forget(job, id)
  return {'unreadable'}
end
local record = redis.call('HMGET', job, 'state', 'lease', 'owner', 'spec', 'paused')
local state, lease, holder, spec, paused = record[1], record[2], record[3], record[4], record[5]
if not state then return {'missing'} end
if state ~= 'queued' and state ~= 'running' then return {'ended'} end
if state == 'running' and holder ~= owner and (tonumber(lease) > now_ms() or leases_may_be_renewed()) then
  return {'held'}
end
if paused == '1' then return {'paused'} end
-- A leftover message may name a job whose delay after a failed attempt is not over.
local due = redis.call('ZSCORE', KEYS[3], id)
if due and tonumber(due) > now_ms() then return {'delayed'} end

if state == 'queued' or holder ~= owner then
  unassign(job, id)
  -- Every write of a worker contains this number, so a worker that was suspended and continues can no longer write.
  for _, name in ipairs({ 'epoch', 'attempts', 'tries' }) do redis.call('HINCRBY', job, name, 1) end
  redis.call('HSETNX', job, 'started', text(now_ms()))
  redis.call('HSET', job, 'state', 'running', 'owner', owner)
  update_listing(job, id, ttl_ms)
end
extend(job, commits, id, lease_ms, ttl_ms)
local epoch, attempts, tries = unpack(redis.call('HMGET', job, 'epoch', 'attempts', 'tries'))
return {'acquired', id, epoch, spec, attempts, redis.call('HGET', job, 'commits'), tries,
  tostring(redis.call('EXISTS', job .. ':transcript')), redis.call('HGET', job, 'unread') or '0',
  redis.call('HGET', job, 'shortages') or '0',
  redis.call('HMGET', job, 'content', 'keyed', 'began', 'restarts', 'restarted')}
