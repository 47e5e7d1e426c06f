-- Extends a lease. Returns 1, or 0 when the caller does not own the job any more.
-- ARGV: id, epoch, owner, lease_ms, ttl_ms
if not owned(KEYS[4], ARGV[2], ARGV[3]) then return 0 end
extend(KEYS[4], KEYS[5], ARGV[1], ARGV[4], ARGV[5])
return 1
