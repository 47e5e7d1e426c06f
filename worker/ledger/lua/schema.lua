-- Notes that a version writes here. Returns '', or the least version that may.
-- ARGV: version, the least that reads what it writes, ttl_ms
return meet(ARGV[1], ARGV[2], ARGV[3])
