-- Deletes a job, in any state, with its keys and its entries in lists. A worker that runs it is refused at its next write.
-- Returns {state before, or '' for no job; spec; outputs as JSON}.
-- ARGV: id
local job, commits, transcript = KEYS[4], KEYS[5], KEYS[6]
local id = ARGV[1]
local root = KEYS[2]:sub(1, -6)  -- the prefix of all keys: KEYS[2] ends with `queue`
local record = {}
if redis.call('TYPE', job).ok == 'hash' then
  record = redis.call('HMGET', job, 'state', 'spec', 'outputs', 'batch', 'listed')
end
forget(job, id)
local state, member = string.match(record[5] or '', '^(%l+)\n(.*)$')
if member then
  redis.call('ZREM', root .. 'listing', member)
  redis.call('ZREM', root .. 'listing:' .. state, member)
end
redis.call('DEL', job, commits, transcript, job .. ':claims', job .. ':upload')
redis.call('ZREM', root .. 'jobs', id)
local batch = record[4] or ''
if batch ~= '' then
  local start = root .. 'batch:' .. batch
  redis.call('SREM', start .. ':jobs', id)
  if redis.call('EXISTS', start .. ':jobs') == 0 then
    redis.call('DEL', start .. ':paused', start .. ':webhook')
    redis.call('ZREM', root .. 'batches', batch)
    redis.call('ZREM', root .. 'webhooks:batches', batch)
  end
end
return { record[1] or '', record[2] or '', record[3] or '[]' }
