-- Ends a job: state, transcript and reason in one step. Returns 1, 0 when not owned, or 'behind N' as commit.lua. All keys of
-- the job then expire after result_ttl_ms.
-- ARGV: id, epoch, owner, number of commits, state, result_ttl_ms, transcript or '', outputs, error code, error, then fields
--       of the record: field, value, ...
local job = KEYS[4]
local id, epoch, owner, number, state, ttl_ms, document, outputs, code, reason = unpack(ARGV)
if repeated(job, state, epoch, owner, ttl_ms) then return 1 end
if not owned(job, epoch, owner) then return 0 end
local stored = redis.call('HGET', job, 'commits')
if tonumber(number) > tonumber(stored) then return 'behind ' .. stored end
if #ARGV > 10 then redis.call('HSET', job, unpack(ARGV, 11)) end
redis.call('HSET', job, 'outputs', outputs)
ttl_ms = conclude(job, KEYS[5], id, ttl_ms, state, code, reason)
if document ~= '' then redis.call('SET', KEYS[6], document, 'PX', ttl_ms) end
return 1
