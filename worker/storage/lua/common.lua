-- Put before every script. Times are milliseconds of the server's clock; no worker's clock is trusted.
-- KEYS of the scripts on jobs: 1 leases, 2 sent, 3 delayed; then of the job: 4 its record, 5 commits, 6 transcript.
-- An id is in `leases` while the job runs, in `sent` while a message for it should be on its way, in `delayed` until
-- one shall be sent; in none of them when it is paused or at its end.
local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
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

-- Takes the job out of its owner's hands, and out of every list of what is to be done.
local function let_go(job, id)
  redis.call('HSET', job, 'lease', '0', 'owner', '', 'partial', '')
  for index = 1, 3 do redis.call('ZREM', KEYS[index], id) end
end

-- Makes the job wait: its message is sent now, and again after patience_ms should it get lost; or, with a delay, only
-- then. A paused job just waits.
local function enqueue(job, commits, id, ttl_ms, delay_ms, patience_ms)
  let_go(job, id)
  redis.call('HSET', job, 'state', 'queued', 'resent', '0')
  local index, after = KEYS[2], tonumber(patience_ms)
  if tonumber(delay_ms) > 0 then index, after = KEYS[3], tonumber(delay_ms) end
  if redis.call('HGET', job, 'paused') ~= '1' then
    redis.call('ZADD', index, text(now_ms() + after), id)
    redis.call('PEXPIRE', index, ttl_ms)
  end
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
end

-- An attempt that was no attempt: its worker had to stop.
local function uncount(job)
  redis.call('HINCRBY', job, 'attempts', -1)
  if tonumber(redis.call('HGET', job, 'tries') or 0) > 0 then redis.call('HINCRBY', job, 'tries', -1) end
end

-- Ends the job; its keys go after ttl_ms.
local function conclude(job, commits, id, ttl_ms, state, code, reason)
  let_go(job, id)
  redis.call('HDEL', job, 'paused', 'resent')
  redis.call('HSET', job, 'state', state, 'ended', text(now_ms()))
  if code == '' then
    redis.call('HDEL', job, 'error_code', 'error')
  else
    redis.call('HSET', job, 'error_code', code, 'error', reason)
  end
  redis.call('PEXPIRE', commits, ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
end
