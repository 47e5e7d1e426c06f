-- Put before every script. Times are milliseconds of the server's clock; no worker's clock is trusted.
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
local function extend(job, commits, leases, id, lease_ms, ttl_ms)
  local until_ms = now_ms() + tonumber(lease_ms)
  redis.call('HSET', job, 'lease', text(until_ms))
  redis.call('ZADD', leases, text(until_ms), id)
  redis.call('PEXPIRE', leases, ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
end

-- Takes the job out of its owner's hands.
local function let_go(job, leases, id)
  redis.call('HSET', job, 'lease', '0', 'owner', '', 'partial', '')
  redis.call('ZREM', leases, id)
end
