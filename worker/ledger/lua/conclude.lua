-- Ends the job; its keys go after ttl_ms.
local function conclude(job, commits, id, ttl_ms, state, code, reason)
  let_go(job, id)
  redis.call('HDEL', job, 'paused')
  redis.call('HSET', job, 'state', state, 'ended', text(now_ms()))
  if code == '' then
    redis.call('HDEL', job, 'error_code', 'error')
  else
    redis.call('HSET', job, 'error_code', code, 'error', reason)
  end
  redis.call('PEXPIRE', commits, ttl_ms)
  redis.call('PEXPIRE', job .. ':transcript', ttl_ms)
  redis.call('PEXPIRE', job, ttl_ms)
  tell_end(job, id, ttl_ms)
end
