-- Removes entries from a stream without groups, and rebuilds it. XDEL only marks entries: their bytes stay in memory and in
-- the files of Redis until all entries of the same node are deleted. Returns the number of removed entries.
-- KEYS: stream    ARGV: entry ids
local stream, removed = KEYS[1], {}
for _, entry in ipairs(ARGV) do removed[entry] = true end
local entries, ttl_ms = redis.call('XRANGE', stream, '-', '+'), redis.call('PTTL', stream)
local last, facts, count = nil, redis.call('XINFO', 'STREAM', stream), 0
for index = 1, #facts, 2 do
  if facts[index] == 'last-generated-id' then last = facts[index + 1] end
end
redis.call('DEL', stream)
for _, entry in ipairs(entries) do
  if removed[entry[1]] then
    count = count + 1
  else
    redis.call('XADD', stream, entry[1], unpack(entry[2]))
  end
end
-- The ids continue to rise, so that readers that wait for later entries miss none.
if redis.call('EXISTS', stream) == 1 then
  redis.call('XSETID', stream, last)
  if ttl_ms > 0 then redis.call('PEXPIRE', stream, ttl_ms) end
end
return count
