-- Searches a part of the jobs index, the newest jobs first. Returns {score and id of the last job that was looked at, or ''
-- twice if the index ends there; ids of the jobs that match}.
-- KEYS: jobs index
-- ARGV: prefix of job keys, score and id after which to continue ('': the newest), oldest and newest score,
--       jobs to look at, jobs to find, states as ',done,failed,' ('': any), batch ('': any), producer ('': any),
--       part of the source's name in lower case ('': any)
local prefix, score, id, oldest, newest, look_at, wanted, states, batch, producer, source = unpack(ARGV)
local index = KEYS[1]
local start
if id == '' then
  start = redis.call('ZCOUNT', index, '(' .. newest, '+inf')
elseif redis.call('ZSCORE', index, id) == score then
  start = redis.call('ZREVRANK', index, id) + 1
else  -- the job has expired or was queued again
  start = redis.call('ZCOUNT', index, '(' .. score, '+inf')
end
local page = redis.call('ZREVRANGE', index, start, start + look_at - 1, 'WITHSCORES')
local found = {}
for i = 1, #page, 2 do
  id, score = page[i], page[i + 1]
  if tonumber(score) < tonumber(oldest) then return {'', '', found} end
  local record = redis.pcall('HMGET', prefix .. id, 'state', 'batch', 'producer', source ~= '' and 'spec' or 'state')
  if not record.err and record[1]
    and (states == '' or string.find(states, ',' .. record[1] .. ',', 1, true))
    and (batch == '' or record[2] == batch)
    and (producer == '' or record[3] == producer) then
    local name = source == '' or string.lower(string.match(record[4], '^{"source":"(.-)"[,}]') or '')
    -- A name in JSON has no slash; the query of a signed address is not searched.
    if source == '' or string.find(string.match(string.match(name, '^[^?]*'), '[^/]*$'), source, 1, true) then
      found[#found + 1] = id
      if #found == tonumber(wanted) then return {score, id, found} end
    end
  end
end
if #page < 2 * look_at then return {'', '', found} end
return {score, id, found}
