-- Put before every script. Times are milliseconds of the server's clock; no worker's clock is trusted.
-- KEYS of the scripts on jobs: 1 leases, 2 queue, 3 delayed; then of the job: 4 its record, 5 commits, 6 transcript.
-- An id is in `leases` while the job runs, in `queue` while it waits for a worker, in `delayed` until it shall wait
-- there; in none of them when it is paused or at its end.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- '' when who is of this version may read what `least` and newer ones may, else `least`. See worker/ledger/schema.py.
local function too_new(least, version)
  return tonumber(least or 0) > tonumber(version) and least or ''
end

-- The same of this ledger, for who writes to it from now on, which is noted.
local function meet(version, reader, ttl_ms)
  local schema = KEYS[2]:sub(1, -6) .. 'schema'  -- beside the line, `queue`
  local at = redis.call('HMGET', schema, 'version', 'reader')
  local newer = too_new(at[2], version)
  if newer ~= '' then return newer end
  if tonumber(at[1] or 0) < tonumber(version) then
    redis.call('HSET', schema, 'version', version, 'reader', text(math.max(tonumber(at[2] or 0), tonumber(reader))))
  end
  redis.call('PEXPIRE', schema, ttl_ms)
  return ''
end

-- A write counts only under the newest epoch of a job that is running.
local function owned(job, epoch)
  local held = redis.call('HMGET', job, 'epoch', 'state')
  return held[1] == epoch and held[2] == 'running'
end

-- Keeps the job with its owner for lease_ms from now, and its keys for ttl_ms.
local function extend(job, commits, id, lease_ms, ttl_ms)
  local until_ms = now_ms() + tonumber(lease_ms)
  redis.call('HSET', job, 'lease', text(until_ms))
  redis.call('ZADD', KEYS[1], text(until_ms), id)
  redis.call('PEXPIRE', KEYS[1], ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
end

-- The line of waiting jobs: high before normal before low, and in each of these levels the batches in turn, all jobs
-- without a batch together being one more. A place is level * LEVEL + round; 2^40 rounds stay exact in a double.
-- `turns` holds for each batch in a level the round of its last job (`last`) and how many of its jobs wait (`left`),
-- and for each level the round that was served last. A job that had begun goes to the front of its level: round 0.
local LEVEL = 1099511627776
local LEVELS = { high = 0, normal = 1, low = 2 }
local turns = (KEYS[2] or '') .. ':turns'

local function line_up(job, id, ttl_ms)
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

-- One field of a record, '' if it does not exist. Another program may have written a key of another type: that must not
-- stop a script that works on many jobs.
local function field(job, name)
  local value = redis.pcall('HGET', job, name)
  return type(value) == 'string' and value or ''
end

-- Takes the job out of the line.
local function step_out(job, id)
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

-- Removes an id whose key contains no record from all lists of pending work.
local function forget(job, id)
  redis.call('ZREM', KEYS[1], id)
  step_out(job, id)
  redis.call('ZREM', KEYS[3], id)
end

-- Takes the job out of its owner's hands, and out of every list of what is to be done.
local function let_go(job, id)
  redis.call('HSET', job, 'lease', '0', 'owner', '', 'partial', '')
  redis.call('ZREM', KEYS[1], id)
  step_out(job, id)
  redis.call('ZREM', KEYS[3], id)
end

-- Makes the job wait for a worker, from now on or after a delay. A paused job just waits.
local function enqueue(job, commits, id, ttl_ms, delay_ms)
  let_go(job, id)
  redis.call('HSET', job, 'state', 'queued')
  if redis.call('HGET', job, 'paused') ~= '1' then
    if tonumber(delay_ms) > 0 then
      redis.call('ZADD', KEYS[3], text(now_ms() + tonumber(delay_ms)), id)
      redis.call('PEXPIRE', KEYS[3], ttl_ms)
    else
      line_up(job, id, ttl_ms)
    end
  end
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
end

-- An attempt that was no attempt: its worker had to stop.
local function uncount(job)
  redis.call('HINCRBY', job, 'attempts', -1)
  if tonumber(redis.call('HGET', job, 'tries') or 0) > 0 then redis.call('HINCRBY', job, 'tries', -1) end
end
