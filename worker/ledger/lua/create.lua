-- Records a job, or finds the one that is there. Returns {state before, or '' for a new job; state now}, or '' as the
-- state now when so many jobs wait that it was not recorded, or {'newer', the least version that may write here}, or
-- 'other' as the state now when the job is that of another producer.
-- A job that failed, was cancelled or is incomplete is queued anew; `force` queues a finished one as well.
-- KEYS from 7 on: jobs index, batches index, batch members, batch's mark of being paused
-- ARGV: id, spec, batch id or '', force (0/1), ttl_ms, most entries of an index, most jobs in the line
--       (0: no bound), version and least reader of what the caller writes, content of the source that the id stands
--       for ('': the id is a key that the producer chose, and stands for no content), name of the producer ('': one that
--       may change all jobs)
local job, commits, transcript = KEYS[4], KEYS[5], KEYS[6]
local jobs, batches, members, batch_paused = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local id, spec, batch, force, ttl_ms, most, most_waiting, version, reader, content, producer = unpack(ARGV)
local newer = meet(version, reader, ttl_ms)
if newer ~= '' then return {'newer', newer} end
local now = now_ms()

local function remember(index, member)
  redis.call('ZADD', index, 'NX', text(now), member)
  redis.call('ZREMRANGEBYSCORE', index, '-inf', text(now - tonumber(ttl_ms)))
  redis.call('ZREMRANGEBYRANK', index, 0, -tonumber(most) - 1)
  redis.call('PEXPIRE', index, ttl_ms)
end

local before = redis.call('HGET', job, 'state') or ''
-- After `retry` on a changed source, an id may stand for another content than the one that was transcribed.
local named = redis.call('HGET', job, 'content') or ''
local other = content ~= '' and named ~= '' and named ~= content
local known = (before == 'queued' or before == 'running' or (before == 'done' and force == '0')) and not other
-- A producer with a stream of its own cannot change a job of another producer, neither by key nor by content.
-- Records of versions that noted no producer may be changed by all producers.
local theirs = redis.call('HGET', job, 'producer')
if producer ~= '' and before ~= '' and theirs and theirs ~= producer then
  return {before, content ~= '' and known and before or 'other'}
end
local full = tonumber(most_waiting) > 0 and redis.call('ZCARD', KEYS[2]) >= tonumber(most_waiting)
if full and not known then return {before, ''} end

if batch ~= '' then
  redis.call('SADD', members, id)
  redis.call('PEXPIRE', members, ttl_ms)
  remember(batches, batch)
end

-- What does not belong to its identity (the speed, where the file lies) is as the newest submission has it.
if before == 'queued' then
  redis.call('HSET', job, 'spec', spec)
  -- One that is in no list (see Ledger.clear_queue) comes back into the line.
  local listed = redis.call('ZSCORE', KEYS[2], id) or redis.call('ZSCORE', KEYS[3], id)
  if not listed and redis.call('HGET', job, 'paused') ~= '1' then line_up(job, id, ttl_ms) end
end
if known then return {before, before} end

-- The epoch goes on rising, so that a worker of an earlier life of this job cannot write.
redis.call('HINCRBY', job, 'epoch', 1)
redis.call('HDEL', job, 'started', 'ended', 'error', 'error_code', 'outputs', 'warnings', 'paused', 'plan', 'sections',
  'unread', 'shortages', 'began', 'restarts', 'restarted')
redis.call('HSET', job, 'content', content, 'keyed', content == '' and '1' or '0', 'producer', producer)
redis.call('HSET', job, 'spec', spec, 'created', text(now), 'attempts', '0', 'tries', '0', 'batch', batch)
-- Where only the files of a failed job could not be written, that is all there is to do.
local only_files = force == '0' and not other and before == 'failed' and redis.call('EXISTS', transcript) == 1
if not only_files then
  redis.call('HSET', job, 'commits', '0', 'speed', '1', 'trouble', '', 'duration_s', '0', 'sent_s', '0',
    'committed_s', '0')
  redis.call('DEL', commits, transcript)
end
if batch ~= '' and redis.call('EXISTS', batch_paused) == 1 then redis.call('HSET', job, 'paused', '1') end
enqueue(job, commits, id, ttl_ms, 0)
redis.call('ZREM', jobs, id)
remember(jobs, id)
return {before, 'queued'}
