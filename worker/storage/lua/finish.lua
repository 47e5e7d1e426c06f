-- Ends a job: state, transcript and reason in one step. Returns 1, or 0 when not owned. Every key now has its end.
-- KEYS: job, commits, leases, transcript
-- ARGV: id, epoch, state, result_ttl_ms, transcript or '', outputs, error code, error
local job, commits, leases, transcript = unpack(KEYS)
local id, epoch, state, ttl_ms, document, outputs, code, reason = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'epoch')
if record[1] == state and record[2] == epoch then return 1 end
if not owned(job, epoch) then return 0 end
let_go(job, leases, id)
redis.call('HSET', job, 'state', state, 'ended', text(now_ms()), 'outputs', outputs)
if code == '' then
  redis.call('HDEL', job, 'error_code', 'error')
else
  redis.call('HSET', job, 'error_code', code, 'error', reason)
end
if document ~= '' then redis.call('SET', transcript, document, 'PX', ttl_ms) end
redis.call('PEXPIRE', commits, ttl_ms)
redis.call('PEXPIRE', job, ttl_ms)
return 1
