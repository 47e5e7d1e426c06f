-- Moves messages from the lists of the queue without a prefix to the present lists, the oldest first. Returns their number.
-- Versions before schema 3 and producers of other programs write to the lists without a prefix.
-- KEYS: lists without a prefix, then as many present lists
-- ARGV: maximum number of messages
local moved, half = 0, #KEYS / 2
for index = 1, half do
  while moved < tonumber(ARGV[1]) do
    -- `pcall`: the key may belong to another program, and then it has another type.
    local message = redis.pcall('RPOPLPUSH', KEYS[index], KEYS[index + half])
    if type(message) ~= 'string' then break end
    moved = moved + 1
  end
end
return moved
