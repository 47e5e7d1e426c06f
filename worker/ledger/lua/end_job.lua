-- Ends the job; its keys expire after ttl_ms.
local function conclude(job, commits, id, ttl_ms, state, code, reason)
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
  add_end_of_job(job, id, ttl_ms)
end
