-- Reads entries of the intake: first those that another process read and did not finish, then new ones.
-- Returns {number of refused entries, list of {id, deliveries, field, value, ...}, an id far ahead of the clock or ''}.
-- Values longer than max_bytes are cut to max_bytes + 1. Each field and value begins with a marker: 's' for ASCII text, 'x'
-- for hexadecimal, because the client decodes answers as UTF-8, which would change other bytes.
-- The newest entries above max_entries are refused and removed; no process has read them yet.
-- A producer that may choose entry ids can exhaust them with one huge id. The stream is then deleted as soon as it is
-- empty, and starts over.
-- KEYS: stream, replies; for the stream of one producer also the replies to it
-- ARGV: group, consumer, count, idle_ms, max_bytes, ttl_ms, max_entries, code, reason, max_replies, replies_ttl_ms,
--       name of the producer
local stream = KEYS[1]
local MAX_AHEAD_MS = 315360000000
local group, consumer, count, idle_ms, max_bytes, ttl_ms = unpack(ARGV)
local max_entries, code, reason, max_replies, replies_ttl_ms = unpack(ARGV, 7)
local MAX_REFUSED = 1000
-- `pcall`, because the group exists except at the first call.
redis.pcall('XGROUP', 'CREATE', stream, group, '0', 'MKSTREAM')
redis.call('PEXPIRE', stream, ttl_ms)

local function encoded(value)
  value = value:sub(1, tonumber(max_bytes) + 1)
  if not value:find('[^\1-\127]') then return 's' .. value end
  return 'x' .. value:gsub('.', function(char) return string.format('%02x', char:byte()) end)
end

local above = math.min(MAX_REFUSED, redis.call('XLEN', stream) - tonumber(max_entries))
if above > 0 then
  for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', above)) do
    for index = 2, #KEYS do
      redis.call('XADD', KEYS[index], 'MAXLEN', '~', max_replies, '*', 'request', entry[1], 'refused', code, 'reason', reason,
        'from', ARGV[12])
      redis.call('PEXPIRE', KEYS[index], replies_ttl_ms)
    end
    redis.call('XDEL', stream, entry[1])
  end
end

local taken = {}
local function take(entry, deliveries)
  if not entry or not entry[2] then return end
  local found = { entry[1], deliveries }
  for index = 1, math.min(#entry[2], 40) do found[index + 2] = encoded(entry[2][index]) end
  taken[#taken + 1] = found
end

-- Entries of processes that stopped come first: their producers wait the longest.
for _, entry in ipairs(redis.call('XAUTOCLAIM', stream, group, consumer, idle_ms, '0', 'COUNT', count)[2]) do
  local pending = entry and redis.call('XPENDING', stream, group, entry[1], entry[1], 1)
  take(entry, pending and pending[1] and pending[1][4] or 1)
end
local left = tonumber(count) - #taken
if left > 0 then
  local read = redis.call('XREADGROUP', 'GROUP', group, consumer, 'COUNT', left, 'STREAMS', stream, '>')
  for _, entry in ipairs(read and read[1][2] or {}) do take(entry, 1) end
end

-- Remove consumers of ended processes; one with pending entries stays until they are claimed.
for _, facts in ipairs(redis.call('XINFO', 'CONSUMERS', stream, group)) do
  local known = {}
  for index = 1, #facts, 2 do known[facts[index]] = facts[index + 1] end
  if known.pending == 0 and known.idle > 600000 and known.name ~= consumer then
    redis.call('XGROUP', 'DELCONSUMER', stream, group, known.name)
  end
end

local ahead, facts = '', redis.call('XINFO', 'STREAM', stream)
for index = 1, #facts, 2 do
  if facts[index] == 'last-generated-id' then ahead = facts[index + 1] end
end
if tonumber(ahead:match('^%d+')) < now_ms() + MAX_AHEAD_MS then ahead = '' end
if ahead ~= '' and redis.call('XLEN', stream) == 0 then redis.call('DEL', stream) end
return {math.max(above, 0), taken, ahead}
