-- Requeues jobs that no worker processes any more. Returns {ids that need a message; ids of jobs that failed; ids whose keys
-- contain no record, which were removed from all sets; ids whose lease expired; number of messages that were lost}.
-- 1. The lease expired: the job is queued again, after a delay if several workers in a row stopped without a commit, and
--    fails if max_tries did. Skipped for lease_ms after an outage of Redis, so that the workers can renew their leases.
-- 2. The delay is over: the job joins the queue. 3. For lost_message_ms there were fewer Celery messages than queued jobs:
--    messages were lost, and as many are sent again, for any ids: a message only wakes a worker, which takes the first job.
-- KEYS from 4 on: the lists of Celery messages, then other keys of Celery; they get a lifetime here, because kombu sets none
-- ARGV: prefix of job keys, maximum jobs per call, lost_message_ms, max_tries, delay_ms, max_delay_ms, result_ttl_ms,
--       ttl_ms, random number from 0 to 1, number of lists, lease_ms, search_due_ms: longest normal time between two searches
local prefix, limit, lost_message_ms, max_tries = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local delay_ms, max_delay_ms, result_ttl_ms, ttl_ms = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local random, lease_ms, search_due_ms = tonumber(ARGV[9]), tonumber(ARGV[11]), tonumber(ARGV[12])
local now = now_ms()
local send, given_up, unreadable, expired, lost = {}, {}, {}, {}, 0

-- Calls `handle` for each job. A job that raises an error is removed from all sets and does not stop the others.
local function each(ids, handle)
  for _, id in ipairs(ids) do
    if not pcall(handle, id, prefix .. id) then
      forget(prefix .. id, id)
      unreadable[#unreadable + 1] = id
    end
  end
end

local renewable = leases_may_be_renewed()
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('HDEL', turns, 'search due', 'renewals until')
else
  if now > tonumber(redis.call('HGET', turns, 'search due') or math.huge) then
    redis.call('HSET', turns, 'renewals until', text(now + lease_ms))
  end
  redis.call('HSET', turns, 'search due', text(now + search_due_ms))
  redis.call('PEXPIRE', turns, ttl_ms)
end

local stopped = renewable and {} or redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', text(now), 'LIMIT', 0, limit)
each(stopped, function(id, job)
  local commits = job .. ':commits'
  local record = redis.call('HMGET', job, 'state', 'tries')
  local tries = tonumber(record[2] or 0)
  if record[1] ~= 'running' then
    redis.call('ZREM', KEYS[1], id)
  else
    -- The old worker may still be alive (suspended, or cut off from Redis): its writes are refused from now on.
    redis.call('HINCRBY', job, 'epoch', 1)
    if tries >= max_tries then
      conclude(job, commits, id, result_ttl_ms, 'failed', 'attempts',
        'given up: ' .. tries .. ' workers in a row stopped while they ran it, without a commit')
      given_up[#given_up + 1] = id
    else
      local delay = 0
      -- No delay after one or two stopped workers, as in a replacement of workers. More in a row may be the fault of the job.
      if tries > 2 then
        delay = math.floor(math.min(max_delay_ms, delay_ms * 2 ^ (tries - 3)) * (0.5 + random / 2))
      end
      enqueue(job, commits, id, ttl_ms, delay)
      expired[#expired + 1] = id
      if delay == 0 then send[#send + 1] = id end
    end
  end
end)

each(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', text(now), 'LIMIT', 0, limit - #send), function(id, job)
  if redis.call('HGET', job, 'state') == 'queued' then
    enqueue(job, job .. ':commits', id, ttl_ms, 0)
    send[#send + 1] = id
  else
    redis.call('ZREM', KEYS[3], id)
  end
end)

local missing = redis.call('ZCARD', KEYS[2]) - #send
for index = 4, 3 + tonumber(ARGV[10]) do missing = missing - redis.call('LLEN', KEYS[index]) end
local seen = redis.call('HMGET', turns, 'missing', 'missing since')
-- The smallest number since the first sighting: jobs that were queued meanwhile have messages of their own.
missing = math.min(missing, limit - #send, tonumber(seen[1]) or missing)
if missing <= 0 then
  redis.call('HDEL', turns, 'missing', 'missing since')
elseif not seen[1] or now - tonumber(seen[2]) < lost_message_ms then
  redis.call('HSET', turns, 'missing', text(missing), 'missing since', seen[2] or text(now))
  redis.call('PEXPIRE', turns, ttl_ms)
else
  for _, id in ipairs(redis.call('ZRANGE', KEYS[2], 0, missing - 1)) do send[#send + 1] = id end
  lost = missing
  redis.call('HDEL', turns, 'missing', 'missing since')
end
for index = 4, #KEYS do redis.call('PEXPIRE', KEYS[index], ttl_ms) end
return {send, given_up, unreadable, expired, lost}
