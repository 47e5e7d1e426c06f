-- Appends events to the stream, which is trimmed to about max_entries.
-- KEYS: events    ARGV: max_entries, ttl_ms, events as JSON: a list of lists field, value, ...
for _, fields in ipairs(cjson.decode(ARGV[3])) do
  -- `~`: trimming to a whole node of the stream is much cheaper than to an exact number.
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', unpack(fields))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
