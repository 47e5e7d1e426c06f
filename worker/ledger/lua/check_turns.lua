-- Compares the number of waiting jobs of each batch in `queue:turns` with the queue, and repairs it if `fix` is 1. A wrong
-- number changes the rotation of batches. Returns {code, detail, ...} as check_job.lua.
-- ARGV: prefix of job keys, fix (0/1), ttl_ms
local prefix, fix, ttl_ms = ARGV[1], ARGV[2] == '1', ARGV[3]
local left, found = {}, {}
local queued = redis.call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for index = 1, #queued, 2 do
  local place = tonumber(queued[index + 1])
  if place % LEVEL > 0 then
    local name = 'left ' .. math.floor(place / LEVEL) .. ' ' .. field(prefix .. queued[index], 'batch')
    left[name] = (left[name] or 0) + 1
  end
end
local stored = redis.call('HGETALL', turns)
local wrong = 0
for index = 1, #stored, 2 do
  local name, count = stored[index], tonumber(stored[index + 1])
  if name:sub(1, 5) == 'left ' then
    if count ~= left[name] then
      wrong = wrong + 1
      if fix and left[name] then redis.call('HSET', turns, name, text(left[name])) end
      if fix and not left[name] then redis.call('HDEL', turns, name, 'last ' .. name:sub(6)) end
    end
    left[name] = nil
  end
end
for name, count in pairs(left) do
  wrong = wrong + 1
  if fix then redis.call('HSET', turns, name, text(count)) end
end
if fix and wrong > 0 then redis.call('PEXPIRE', turns, ttl_ms) end
if wrong > 0 then found = { 'turns', tostring(wrong) } end
return found
