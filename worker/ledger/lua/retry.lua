-- Queues a job that failed, is incomplete or was cancelled. A job whose source has changed starts over with the present
-- content; its field `content` is then '*' (any). Returns {state before, or '' for no job; state now}.
-- ARGV: id, keep_commits (1: continue after the last commit, 0: start over), ttl_ms
local job, commits = KEYS[4], KEYS[5]
local id, keep_commits, ttl_ms = unpack(ARGV)
local before = redis.call('HGET', job, 'state') or ''
if before ~= 'failed' and before ~= 'incomplete' and before ~= 'cancelled' then return {before, before} end
local changed = redis.call('HGET', job, 'error_code') == 'source_changed'
if changed then keep_commits = '0' end
redis.call('HINCRBY', job, 'epoch', 1)
redis.call('HDEL', job, 'started', 'ended', 'error', 'error_code', 'outputs', 'warnings', 'paused', 'unread',
  'shortages', 'restarts', 'restarted', 'claimed')
redis.call('HSET', job, 'attempts', '0', 'tries', '0', 'trouble', '')
-- A failed or cancelled job has a transcript if only its output files are missing; the next attempt then writes them.
if keep_commits == '0' or before == 'incomplete' then redis.call('DEL', KEYS[6]) end
-- If commits have expired, the job cannot continue after them and starts over.
if keep_commits == '0' or redis.call('XLEN', commits) ~= tonumber(redis.call('HGET', job, 'commits')) then
  redis.call('DEL', commits)
  redis.call('HDEL', job, 'plan', 'sections', 'began')
  redis.call('HSET', job, 'commits', '0', 'sent_s', '0', 'committed_s', '0')
end
if changed and redis.call('HGET', job, 'keyed') ~= '1' then redis.call('HSET', job, 'content', '*') end
enqueue(job, commits, id, ttl_ms, 0)
return {before, 'queued'}
