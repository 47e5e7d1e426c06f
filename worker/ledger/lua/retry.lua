-- Queues a job that ended without being done. A job whose source has changed starts over with the
-- present content: its own content is then '*', any. Returns {state before, or '' for none; state now}.
-- ARGV: id, keep (1: go on after what was committed, 0: from the start), ttl_ms
local job, commits = KEYS[4], KEYS[5]
local id, keep, ttl_ms = unpack(ARGV)
local before = redis.call('HGET', job, 'state') or ''
if before ~= 'failed' and before ~= 'incomplete' and before ~= 'cancelled' then return {before, before} end
local changed = redis.call('HGET', job, 'error_code') == 'source_changed'
if changed then keep = '0' end
redis.call('HINCRBY', job, 'epoch', 1)
redis.call('HDEL', job, 'started', 'ended', 'error', 'error_code', 'outputs', 'warnings', 'paused', 'unread',
  'shortages', 'restarts', 'restarted')
redis.call('HSET', job, 'attempts', '0', 'tries', '0', 'trouble', '')
-- Of a job that failed, or was cancelled, when only its files were not written yet, there is a transcript: it goes on
-- with that.
if keep == '0' or before == 'incomplete' then redis.call('DEL', KEYS[6]) end
-- Commits that have expired cannot be gone on after.
if keep == '0' or redis.call('XLEN', commits) ~= tonumber(redis.call('HGET', job, 'commits')) then
  redis.call('DEL', commits)
  redis.call('HDEL', job, 'plan', 'sections', 'began')
  redis.call('HSET', job, 'commits', '0', 'sent_s', '0', 'committed_s', '0')
end
if changed and redis.call('HGET', job, 'keyed') ~= '1' then redis.call('HSET', job, 'content', '*') end
enqueue(job, commits, id, ttl_ms, 0)
return {before, 'queued'}
