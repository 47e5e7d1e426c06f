-- Searches one sorted set of the listing (see update_listing in common.lua), newest first. Returns {ids of jobs with their
-- score: id, score, ...; score and id of the last entry that was read, '' if none was; whether entries remain, 0/1}.
-- A call reads at most `scan` entries, so that other clients need not wait; the caller repeats it after the last entry.
-- KEYS: 1 the sorted set
-- ARGV: highest score, id after which to continue at that score or '', lowest score, scan, maximum jobs to return,
--       batch or '', whether to compare the producer (0/1), producer, part of the name in lower case or ''
local listing = KEYS[1]
local highest, after, lowest, scan, limit, batch, by_producer, producer, name = unpack(ARGV)
scan, limit = tonumber(scan), tonumber(limit)
local CHUNK = 1000

-- Whether `a` comes before `b` in the order of the bytes, as in a sorted set. Lua itself compares by the locale.
local function before(a, b)
  for index = 1, math.min(#a, #b) do
    local x, y = string.byte(a, index), string.byte(b, index)
    if x ~= y then return x < y end
  end
  return #a < #b
end

local function matches(member)
  -- First search for the parts anywhere, because most entries of a rare search fail here.
  if name ~= '' and not string.find(member, name, 1, true) then return false end
  if batch ~= '' and not string.find(member, '\n' .. batch .. '\n', 1, true) then return false end
  if name == '' and batch == '' and by_producer == '0' then return true end
  local _, of_batch, of_producer, of_name = string.match(member, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
  return of_name and string.find(of_name, name, 1, true) and (batch == '' or of_batch == batch)
    and (by_producer == '0' or of_producer == producer)
end

local rank = highest == '+inf' and 0 or redis.call('ZCOUNT', listing, '(' .. highest, '+inf')
local ties = after == '' and 0 or redis.call('ZCOUNT', listing, highest, highest)
local all = redis.call('ZCOUNT', listing, lowest, '+inf')
local stop = math.min(all, rank + scan)
local first, last, found = rank, '', {}
local rare = name ~= '' and name or batch
while rank < stop and #found < 2 * limit do
  local members = redis.call('ZREVRANGE', listing, rank, math.min(rank + CHUNK, stop) - 1)
  -- One search in the text of all entries: most chunks of a rare search contain no match.
  if rare ~= '' and not string.find(table.concat(members, '\n'), rare, 1, true) then
    rank, last = rank + #members, members[#members]
    members = {}
  end
  for _, member in ipairs(members) do
    rank, last = rank + 1, member
    local id = rank - first <= ties and string.match(member, '^[^\n]*')
    if (not id or before(id, after)) and matches(member) then
      found[#found + 1] = string.match(member, '^[^\n]*')
      found[#found + 1] = redis.call('ZSCORE', listing, member)
      if #found == 2 * limit then break end
    end
  end
end
local score = last == '' and '' or redis.call('ZSCORE', listing, last)
return { found, score, string.match(last, '^[^\n]*'), rank < all and 1 or 0 }
