-- Records the caller's version as a writer. Returns '', or the oldest version that may write.
-- ARGV: version, oldest version that can read its records, ttl_ms
return register(ARGV[1], ARGV[2], ARGV[3])
