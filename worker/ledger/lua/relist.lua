-- Corrects the listing for jobs that it does not show as they are: jobs of an earlier version, and jobs that an earlier
-- version has changed. Returns the number of corrected entries.
-- ARGV: prefix of job keys, ttl_ms, ids
local prefix, ttl_ms, corrected = ARGV[1], ARGV[2], 0
local listing = KEYS[2]:sub(1, -6) .. 'listing'
for index = 3, #ARGV do
  local id = ARGV[index]
  local job = prefix .. id
  local known, record = pcall(redis.call, 'HMGET', job, 'state', 'listed')
  if known and record[1] then
    local state, member = string.match(record[2] or '', '^(%l+)\n(.*)$')
    if state ~= record[1] or not redis.call('ZSCORE', listing .. ':' .. state, member) then
      update_listing(job, id, ttl_ms, true)
      corrected = corrected + 1
    end
  end
end
return corrected
