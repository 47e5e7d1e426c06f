-- Precedes every script. Times are milliseconds of the server's clock, so workers with wrong clocks do no harm.
-- KEYS of the scripts on jobs: 1 leases, 2 queue, 3 delayed; then of the job: 4 its record, 5 commits, 6 transcript.
-- An id is in `leases` while the job runs, in `queue` while it waits for a worker, in `delayed` until it joins the queue,
-- in `paused` while the job is paused, and in none of them when it has ended.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- Formats a number as a whole number, without a fraction or an exponent.
local function text(number)
  return string.format('%.0f', number)
end

-- '' if `version` can read records that `least` and newer versions can read, else `least`. See worker/ledger/schema.py.
local function too_new(least, version)
  return tonumber(least or 0) > tonumber(version) and least or ''
end

-- Checks that `version` can read this ledger, and records it as a writer. Returns as too_new.
local function register(version, reader, ttl_ms)
  local schema = KEYS[2]:sub(1, -6) .. 'schema'  -- the prefix is that of the key `queue`
  local at = redis.call('HMGET', schema, 'version', 'reader')
  local newer = too_new(at[2], version)
  if newer ~= '' then return newer end
  if tonumber(at[1] or 0) < tonumber(version) then
    redis.call('HSET', schema, 'version', version, 'reader', text(math.max(tonumber(at[2] or 0), tonumber(reader))))
  end
  -- Without jobs the version expires, so an older version may use an abandoned ledger again.
  redis.call('PEXPIRE', schema, ttl_ms)
  return ''
end

-- Whether `owner` has the newest lease of a running job. Only then may it write. The epoch alone is not enough: if a failover
-- of Redis loses an acquisition, the next one gets the same epoch.
local function owned(job, epoch, owner)
  local record = redis.call('HMGET', job, 'epoch', 'state', 'owner')
  return record[1] == epoch and record[2] == 'running' and record[3] == owner
end

-- Whether a call that changes the state is repeated, because its first answer was lost: the job has the state that the call
-- leads to, and `owner` had its last lease. Extends the lifetime of the record: WAIT only waits for connections that have
-- written.
local function repeated(job, state, epoch, owner, ttl_ms)
  local record = redis.call('HMGET', job, 'epoch', 'state', 'last_owner')
  if record[1] ~= epoch or record[2] ~= state or record[3] ~= owner then return false end
  redis.call('PEXPIRE', job, ttl_ms)
  return true
end

-- Extends the lease to lease_ms from now, and the lifetime of the job's keys to ttl_ms.
local function extend(job, commits, id, lease_ms, ttl_ms)
  local until_ms = now_ms() + tonumber(lease_ms)
  redis.call('HSET', job, 'lease', text(until_ms))
  redis.call('ZADD', KEYS[1], text(until_ms), id)
  redis.call('PEXPIRE', KEYS[1], ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
end

-- The queue of waiting jobs: high priority before normal before low, and within a priority (a level) round-robin over the
-- batches. All jobs without a batch count as one batch. A place is level * LEVEL + round; 2^40 rounds are exact in a double.
-- `turns` contains for each batch of a level the round of its last job (`last`) and the number of its waiting jobs (`left`),
-- and for each level the round served last (`served`). A job that has begun before goes to the front of its level: round 0.
local LEVEL = 1099511627776
local LEVELS = { high = 0, normal = 1, low = 2 }
local turns = (KEYS[2] or '') .. ':turns'
-- The ids of paused jobs, scored by the time of the pause in ms. For counts only: the field `paused` of a record decides.
local paused_jobs = (KEYS[2] or ''):sub(1, -6) .. 'paused'

-- Adds a job to the queue.
local function push(job, id, ttl_ms)
  local record = redis.call('HMGET', job, 'spec', 'batch', 'started')
  local known, spec = pcall(cjson.decode, record[1] or '')
  local level, round = known and type(spec) == 'table' and LEVELS[spec.priority] or LEVELS.normal, 0
  if not record[3] then
    local flow = level .. ' ' .. (record[2] or '')
    local at = redis.call('HMGET', turns, 'last ' .. flow, 'served ' .. level)
    round = math.max(tonumber(at[1] or 0), tonumber(at[2] or 0)) + 1
    redis.call('HSET', turns, 'last ' .. flow, text(round))
    redis.call('HINCRBY', turns, 'left ' .. flow, 1)
    redis.call('PEXPIRE', turns, ttl_ms)
  end
  redis.call('ZADD', KEYS[2], text(level * LEVEL + round), id)
  redis.call('PEXPIRE', KEYS[2], ttl_ms)
end

-- One field of a record, '' if it does not exist. Another program may have written a key of another type; that must not
-- stop a script that processes many jobs.
local function field(job, name)
  local value = redis.pcall('HGET', job, name)
  return type(value) == 'string' and value or ''
end

-- Removes a job from the queue.
local function remove_from_queue(job, id)
  local place = tonumber(redis.call('ZSCORE', KEYS[2], id))
  if not place then return end
  redis.call('ZREM', KEYS[2], id)
  if place % LEVEL > 0 then
    local flow = math.floor(place / LEVEL) .. ' ' .. field(job, 'batch')
    if redis.call('HINCRBY', turns, 'left ' .. flow, -1) <= 0 then
      redis.call('HDEL', turns, 'left ' .. flow, 'last ' .. flow)
    end
  end
end

-- Removes an id whose key contains no record from all sets of pending work.
local function forget(job, id)
  redis.call('ZREM', KEYS[1], id)
  remove_from_queue(job, id)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', paused_jobs, id)
end

-- Whether workers may still renew expired leases, because Redis was not available. Reapers search often, so an overdue
-- search means that no worker reached Redis. The first search after that sets `renewals until`.
local function leases_may_be_renewed()
  local at = redis.call('HMGET', turns, 'search due', 'renewals until')
  local now = now_ms()
  return now > tonumber(at[1] or math.huge) or now < tonumber(at[2] or 0)
end

-- Removes the owner of a job, and the job from all sets of pending work.
local function unassign(job, id)
  local owner = redis.call('HGET', job, 'owner')
  if owner and owner ~= '' then redis.call('HSET', job, 'last_owner', owner) end
  redis.call('HSET', job, 'lease', '0', 'owner', '', 'partial', '')
  redis.call('ZREM', KEYS[1], id)
  remove_from_queue(job, id)
  redis.call('ZREM', KEYS[3], id)
  redis.call('ZREM', paused_jobs, id)
end

-- Text without control characters, which separate the parts of a member of the listing.
local function one_line(value)
  return (string.gsub(value or '', '%c', ' '))
end

-- Name of a job's source for the listing: the last part of its path, in lower case. The query of an address may contain a
-- signature, so it is not stored a second time.
local function source_name(spec)
  local known, fields = pcall(cjson.decode, spec or '')
  local source = known and type(fields) == 'table' and fields.source
  if type(source) ~= 'string' then return '' end
  if string.find(source, '://', 1, true) then source = string.gsub(source, '[?#].*$', '') end
  source = string.gsub(source, '/+$', '')
  return string.lower(string.sub(one_line(string.match(source, '[^/]*$')), -200))
end

-- Updates the listing: the sorted sets `listing` and `listing:STATE`, scored by the time of creation. Call it after each
-- change of a state. A member is `id \n batch \n producer \n name of the source`, so a search reads no records. The field
-- `listed` of the record has the state and the member under which the job is listed. `fresh`: the parts may have changed.
local MAX_LISTED = 100000
local function update_listing(job, id, ttl_ms, fresh)
  local record = redis.call('HMGET', job, 'state', 'created', 'listed')
  local state, created, listed = record[1], tonumber(record[2] or ''), record[3] or ''
  if not state or not created then return end
  local listing = KEYS[2]:sub(1, -6) .. 'listing'  -- the prefix is that of the key `queue`
  local old_state, old_member = string.match(listed, '^(%l+)\n(.*)$')
  local member = old_member
  if fresh or not member then
    local parts = redis.call('HMGET', job, 'batch', 'producer', 'spec')
    member = table.concat({ id, one_line(parts[1] or ''), one_line(parts[2] or ''), source_name(parts[3]) }, '\n')
  end
  if old_member and (old_state ~= state or old_member ~= member) then
    redis.call('ZREM', listing .. ':' .. old_state, old_member)
    if old_member ~= member then redis.call('ZREM', listing, old_member) end
  end
  for _, key in ipairs({ listing, listing .. ':' .. state }) do
    redis.call('ZADD', key, text(created), member)
    if redis.call('PTTL', key) < tonumber(ttl_ms) then redis.call('PEXPIRE', key, ttl_ms) end
    if fresh then redis.call('ZREMRANGEBYRANK', key, 0, -MAX_LISTED - 1) end
  end
  redis.call('HSET', job, 'listed', state .. '\n' .. member)
end

-- Queues the job, now or after a delay. A paused job only joins the set of paused jobs until it is resumed.
local function enqueue(job, commits, id, ttl_ms, delay_ms)
  unassign(job, id)
  redis.call('HSET', job, 'state', 'queued')
  if redis.call('HGET', job, 'paused') == '1' then
    redis.call('ZADD', paused_jobs, text(now_ms()), id)
    redis.call('PEXPIRE', paused_jobs, ttl_ms)
  elseif tonumber(delay_ms) > 0 then
    redis.call('ZADD', KEYS[3], text(now_ms() + tonumber(delay_ms)), id)
    redis.call('PEXPIRE', KEYS[3], ttl_ms)
  else
    push(job, id, ttl_ms)
  end
  update_listing(job, id, ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
end

-- Does not count the present attempt, because its worker had to stop.
local function uncount_attempt(job)
  redis.call('HINCRBY', job, 'attempts', -1)
  if tonumber(redis.call('HGET', job, 'tries') or 0) > 0 then redis.call('HINCRBY', job, 'tries', -1) end
end
