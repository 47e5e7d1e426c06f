-- Writes fields of progress, if any, and extends the lease. Returns 1, or 0 when the caller does not own the job any more.
-- ARGV: id, epoch, owner, lease_ms, ttl_ms, field, value, ...
if not owned(KEYS[4], ARGV[2], ARGV[3]) then return 0 end
if #ARGV > 5 then
  redis.call('HSET', KEYS[4], unpack(ARGV, 6))
end
extend(KEYS[4], KEYS[5], ARGV[1], ARGV[4], ARGV[5])
return 1
