-- Removes the entries of expired jobs from the oldest end of the listing. Returns the number of removed entries.
-- ARGV: prefix of job keys, states separated by blanks, maximum entries to look at in each set
local listing, removed = KEYS[2]:sub(1, -6) .. 'listing', 0
for state in string.gmatch(ARGV[2], '%S+') do
  local key = listing .. ':' .. state
  for _, member in ipairs(redis.call('ZRANGE', key, 0, tonumber(ARGV[3]) - 1)) do
    local job = ARGV[1] .. string.match(member, '^[^\n]*')
    -- An entry is also wrong if an earlier version created the job a second time, without the field.
    if field(job, 'listed') ~= state .. '\n' .. member then
      removed = removed + redis.call('ZREM', key, member)
      if redis.call('EXISTS', job) == 0 then redis.call('ZREM', listing, member) end
    end
  end
end
return removed
