-- Compares the keys of one job with the invariants of the ledger (worker/ledger/consistency.py), and repairs differences if
-- `fix` is 1. Atomic, so it may run beside workers. Returns {code, detail, code, detail, ...}, empty for a sound job.
-- ARGV: id, fix (0/1), ttl_ms
local job, commits, transcript = KEYS[4], KEYS[5], KEYS[6]
local id, fix, ttl_ms = ARGV[1], ARGV[2] == '1', ARGV[3]
local ENDED = { done = true, incomplete = true, failed = true, cancelled = true }
local TYPES = { [job] = 'hash', [commits] = 'stream', [transcript] = 'string' }
local found = {}
local function problem(code, detail)
  found[#found + 1] = code
  found[#found + 1] = tostring(detail or '')
end

local kinds = {}
for key, expected in pairs(TYPES) do
  kinds[key] = redis.call('TYPE', key).ok
  if kinds[key] ~= expected and kinds[key] ~= 'none' then problem('wrong_type', key .. ': ' .. kinds[key]) end
end
local leased, place = redis.call('ZSCORE', KEYS[1], id), redis.call('ZSCORE', KEYS[2], id)
local due, parked = redis.call('ZSCORE', KEYS[3], id), redis.call('ZSCORE', paused_jobs, id)
if kinds[job] ~= 'hash' then
  if leased or place or due or parked then
    problem('no_record')
    if fix then forget(job, id) end
  end
  if kinds[job] == 'none' and (kinds[commits] ~= 'none' or kinds[transcript] ~= 'none') then
    problem('orphan')
    if fix then redis.call('DEL', commits, transcript) end
  end
  return found
end
if #found > 0 then return found end

local record = redis.call('HMGET', job, 'state', 'lease', 'owner', 'paused', 'commits', 'ended', 'outputs')
local state, paused, count = record[1], record[4] == '1', tonumber(record[5] or 0) or -1
local owned_by = record[3] or ''
local lease = tonumber(record[2] or 0) or 0
if state ~= 'queued' and state ~= 'running' and not ENDED[state] then
  problem('unknown_state', state)
  return found
end

for _, key in ipairs({ job, commits, transcript }) do
  if redis.call('PTTL', key) == -1 then
    problem('no_expiry', key)
    if fix then redis.call('PEXPIRE', key, ttl_ms) end
  end
end
local MARGIN_MS = 60000
local ends = redis.call('PTTL', job)
if not ENDED[state] and redis.call('PTTL', commits) >= 0 and redis.call('PTTL', commits) < ends - MARGIN_MS then
  problem('expires_early', commits)
  if fix then redis.call('PEXPIRE', commits, ends) end
end

-- Queues the job again as it should be listed; an attempt that runs is ended, because the epoch rises.
local function list_again()
  if state == 'running' then redis.call('HINCRBY', job, 'epoch', 1) end
  local delay = due and not place and tonumber(due) - now_ms() or 0
  enqueue(job, commits, id, ttl_ms, math.max(0, delay))
end

local wrong = {}
if state == 'queued' then
  if leased then wrong[#wrong + 1] = 'it is in `leases`' end
  if owned_by ~= '' or lease ~= 0 then wrong[#wrong + 1] = 'it has an owner' end
  if paused and (place or due) then wrong[#wrong + 1] = 'it is paused and in the queue' end
  if paused and not parked then wrong[#wrong + 1] = 'it is paused and not in `paused`' end
  if not paused and parked then wrong[#wrong + 1] = 'it is in `paused`' end
  if not paused and not place and not due then wrong[#wrong + 1] = 'it is in no list' end
  if place and due then wrong[#wrong + 1] = 'it is in `queue` and in `delayed`' end
elseif state == 'running' then
  if not leased then wrong[#wrong + 1] = 'it is not in `leases`' end
  if leased and math.abs(tonumber(leased) - lease) > 1 then wrong[#wrong + 1] = 'its lease and `leases` differ' end
  if owned_by == '' then wrong[#wrong + 1] = 'it has no owner' end
  if paused then wrong[#wrong + 1] = 'it is paused' end
  if place or due or parked then wrong[#wrong + 1] = 'it is in a list of waiting jobs' end
else
  if leased or place or due or parked then wrong[#wrong + 1] = 'it is in a list of unfinished jobs' end
  if owned_by ~= '' or lease ~= 0 then wrong[#wrong + 1] = 'it has an owner' end
  if paused then wrong[#wrong + 1] = 'it is paused' end
  if not record[6] then wrong[#wrong + 1] = 'it has no time of its end' end
end
if #wrong > 0 then
  problem('state', state .. ', but ' .. table.concat(wrong, ', '))
  if fix and ENDED[state] then
    unassign(job, id)
    redis.call('HDEL', job, 'paused')
    redis.call('HSETNX', job, 'ended', text(now_ms()))
  elseif fix and state == 'running' and leased and owned_by ~= '' and not paused then
    -- Its worker may live: only the lists are corrected.
    remove_from_queue(job, id)
    redis.call('ZREM', KEYS[3], id)
    redis.call('ZREM', paused_jobs, id)
    redis.call('ZADD', KEYS[1], text(lease), id)
  elseif fix then
    list_again()
  end
end

local stored = kinds[commits] == 'stream' and redis.call('XLEN', commits) or 0
-- The commits of an ended job may have expired, or may have been deleted on purpose.
if stored ~= count and not (ENDED[state] and stored == 0) then
  problem('commits', 'the record counts ' .. tostring(record[5]) .. ', ' .. stored .. ' are stored')
  if fix and stored > count then
    redis.call('HSET', job, 'commits', text(stored))
  elseif fix then
    -- Text is lost: another attempt starts over, so that the transcript has no gap.
    redis.call('DEL', commits)
    redis.call('HDEL', job, 'plan', 'sections', 'began')
    redis.call('HSET', job, 'commits', '0', 'sent_s', '0', 'committed_s', '0')
    if not ENDED[state] then list_again() end
  end
end
-- `stt-batch run` lets a transcript expire when its files are written.
local unwritten = (record[7] or '[]') == '[]' or record[7] == ''
if (state == 'done' or state == 'incomplete') and kinds[transcript] == 'none' and unwritten then problem('no_transcript') end

return found
