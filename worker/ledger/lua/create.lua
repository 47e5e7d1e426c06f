-- Queues a job, or finds the existing one. Returns {state before, or '' for a new job; state now}. The state now is '' if
-- the queue is full and the job was not recorded, and 'other' if the job belongs to another producer. Returns {'newer',
-- oldest version that may write} if the caller is too old.
-- A job that failed, was cancelled or is incomplete is queued again; `force` queues a done one as well.
-- KEYS from 7 on: jobs index, batches index, batch members, key that exists while the batch is paused
-- ARGV: id, spec, batch id or '', force (0/1), ttl_ms, maximum entries of an index, maximum waiting jobs (0: no limit),
--       version of the caller and oldest version that can read its records, content from which the id was computed ('':
--       the producer chose the id), name of the producer ('': one that may change all jobs)
local job, commits, transcript = KEYS[4], KEYS[5], KEYS[6]
local jobs, batches, members, batch_paused = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local id, spec, batch, force, ttl_ms, max_entries, max_waiting, version, reader, content, producer, claim = unpack(ARGV)
local newer = register(version, reader, ttl_ms)
if newer ~= '' then return {'newer', newer} end
local now = now_ms()

-- Adds a member to an index, and removes the expired and the oldest ones.
local function add_to_index(index, member)
  redis.call('ZADD', index, 'NX', text(now), member)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', text(now - tonumber(ttl_ms)))
  -- The index is for listings only. Jobs that it no longer names still run.
  redis.call('ZREMRANGEBYRANK', index, 0, -tonumber(max_entries) - 1)
  redis.call('PEXPIRE', index, ttl_ms)
end

local before = redis.call('HGET', job, 'state') or ''
-- After `retry` on a changed source, an id may stand for another content than the one that was transcribed.
local named = redis.call('HGET', job, 'content') or ''
local other = content ~= '' and named ~= '' and named ~= content
local known = (before == 'queued' or before == 'running' or (before == 'done' and force == '0')) and not other
-- A producer with a stream of its own cannot change a job of another producer, neither by key nor by content.
-- Records without a producer (of earlier versions) may be changed by all producers.
local theirs = redis.call('HGET', job, 'producer')
if producer ~= '' and before ~= '' and theirs and theirs ~= producer then
  return {before, content ~= '' and known and before or 'other'}
end
local full = tonumber(max_waiting) > 0 and redis.call('ZCARD', KEYS[2]) >= tonumber(max_waiting)
if full and not known then return {before, ''} end

if batch ~= '' then
  redis.call('SADD', members, id)
  redis.call('PEXPIRE', members, ttl_ms)
  add_to_index(batches, batch)
end

-- See worker/ledger/claims.py. A lasting submission makes the job independent of all claims.
if claim == '' then
  redis.call('HDEL', job, 'claimed')
else
  if not known then redis.call('DEL', job .. ':claims') end
  redis.call('SADD', job .. ':claims', claim)
  redis.call('PEXPIRE', job .. ':claims', ttl_ms)
end

-- The newest submission decides everything that is not part of the job's identity, such as the speed or the path.
if before == 'queued' then
  redis.call('HSET', job, 'spec', spec)
  -- A job that is in no set (after Ledger.clear_queue) returns to the queue.
  local listed = redis.call('ZSCORE', KEYS[2], id) or redis.call('ZSCORE', KEYS[3], id)
  if not listed and redis.call('HGET', job, 'paused') ~= '1' then push(job, id, ttl_ms) end
  update_listing(job, id, ttl_ms, true)
end
if known then return {before, before} end

-- The epoch continues to rise, so that a worker of an earlier run of this job cannot write.
redis.call('HINCRBY', job, 'epoch', 1)
redis.call('HDEL', job, 'started', 'ended', 'error', 'error_code', 'outputs', 'warnings', 'paused', 'plan', 'sections',
  'unread', 'shortages', 'began', 'restarts', 'restarted')
redis.call('HSET', job, 'content', content, 'keyed', content == '' and '1' or '0', 'producer', producer)
if claim ~= '' then redis.call('HSET', job, 'claimed', '1') end
redis.call('HSET', job, 'spec', spec, 'created', text(now), 'attempts', '0', 'tries', '0', 'batch', batch)
-- If only the output files of a failed job are missing, its transcript stays and only they are written.
local only_files = force == '0' and not other and before == 'failed' and redis.call('EXISTS', transcript) == 1
if not only_files then
  redis.call('HSET', job, 'commits', '0', 'speed', '1', 'trouble', '', 'duration_s', '0', 'sent_s', '0',
    'committed_s', '0')
  redis.call('DEL', commits, transcript)
end
if batch ~= '' and redis.call('EXISTS', batch_paused) == 1 then redis.call('HSET', job, 'paused', '1') end
enqueue(job, commits, id, ttl_ms, 0)
update_listing(job, id, ttl_ms, true)
redis.call('ZREM', jobs, id)
add_to_index(jobs, id)
return {before, 'queued'}
