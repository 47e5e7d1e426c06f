-- Stores the finished transcript of a running job whose output files could not be written. The count of attempts without a
-- commit (`tries`) starts again at 0.
-- Returns 1, or 0 when not owned.
-- ARGV: id, epoch, owner, lease_ms, ttl_ms, transcript
local job = KEYS[4]
local id, epoch, owner, lease_ms, ttl_ms, document = unpack(ARGV)
if not owned(job, epoch, owner) then return 0 end
redis.call('SET', KEYS[6], document, 'PX', ttl_ms)
redis.call('HSET', job, 'tries', '0')
extend(job, KEYS[5], id, lease_ms, ttl_ms)
return 1
