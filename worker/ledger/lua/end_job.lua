-- Ends the job; its keys expire after `retain_s` of its spec, or else after ttl_ms. Returns this time in ms.
local function conclude(job, commits, id, ttl_ms, state, code, reason)
  local known, spec = pcall(cjson.decode, redis.call('HGET', job, 'spec') or '')
  local retain_s = known and type(spec) == 'table' and tonumber(spec.retain_s)
  local message_ttl_ms = ttl_ms
  if retain_s then ttl_ms = text(math.max(1, retain_s * 1000)) end
  unassign(job, id)
  redis.call('HDEL', job, 'paused')
  redis.call('HSET', job, 'state', state, 'ended', text(now_ms()))
  if code == '' then
    redis.call('HDEL', job, 'error_code', 'error')
  else
    redis.call('HSET', job, 'error_code', code, 'error', reason)
  end
  update_listing(job, id, ttl_ms)
  redis.call('PEXPIRE', commits, ttl_ms)
  redis.call('PEXPIRE', job .. ':transcript', ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
  -- In the same step as the end: no end without its webhook, and no webhook without the end.
  add_end_of_job(job, id, message_ttl_ms)
  return ttl_ms
end
