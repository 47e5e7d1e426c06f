-- Adds a message to the outbox of webhooks (see worker/webhooks/outbox.py). Its lifetime is at least three days, longer than
-- all attempts take. An existing message is not changed.
local MIN_OUTBOX_MS = 259200000
local function add_to_outbox(key, message, outbox, ttl_ms, ...)
  if redis.call('EXISTS', key) == 1 then return end
  ttl_ms = text(math.max(MIN_OUTBOX_MS, tonumber(ttl_ms)))
  redis.call('HSET', key, 'attempts', '0', ...)
  redis.call('PEXPIRE', key, ttl_ms)
  redis.call('ZADD', outbox, text(now_ms()), message)
  redis.call('PEXPIRE', outbox, ttl_ms)
end

-- Adds the end of a job to the outbox if its spec names a webhook. `conclude` calls this in the step that ends the job.
local FACTS = { 'state', 'ended', 'batch', 'epoch', 'error_code', 'error', 'outputs', 'duration_s', 'committed_s', 'commits',
  'attempts', 'quality' }
local MAX_VALUE_BYTES = 16384
local function add_end_of_job(job, id, ttl_ms)
  local known, spec = pcall(cjson.decode, redis.call('HGET', job, 'spec') or '')
  if not known or type(spec) ~= 'table' or type(spec.webhook) ~= 'string' then return end
  local facts = {}
  for index, value in ipairs(redis.call('HMGET', job, unpack(FACTS))) do
    facts[#facts + 1] = 'job_' .. FACTS[index]
    facts[#facts + 1] = value and #value <= MAX_VALUE_BYTES and value or ''
  end
  local root = KEYS[2]:sub(1, -6)  -- the prefix of all keys: KEYS[2] ends with `queue`
  -- The id is derived from job and epoch, so a repeated call does not add a second message.
  local message = 'msg_' .. redis.sha1hex(root .. ' ' .. id .. ' ' .. redis.call('HGET', job, 'epoch'))
  add_to_outbox(root .. 'webhook:' .. message, message, root .. 'webhooks', ttl_ms, 'kind', 'job', 'url', spec.webhook,
    'job', id, 'source', tostring(spec.source), unpack(facts))
end
