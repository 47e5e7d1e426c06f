-- Ends a job: state, transcript and reason in one step. Returns 1, or 0 when not owned. All keys of the job then expire after result_ttl_ms.
-- ARGV: id, epoch, state, result_ttl_ms, transcript or '', outputs, error code, error, then fields of the record: field, value, ...
local job = KEYS[4]
local id, epoch, state, ttl_ms, document, outputs, code, reason = unpack(ARGV)
local record = redis.call('HMGET', job, 'state', 'epoch')
-- The same call again: its first answer was lost.
if record[1] == state and record[2] == epoch then return 1 end
if not owned(job, epoch) then return 0 end
if #ARGV > 8 then redis.call('HSET', job, unpack(ARGV, 9)) end
redis.call('HSET', job, 'outputs', outputs)
ttl_ms = conclude(job, KEYS[5], id, ttl_ms, state, code, reason)
if document ~= '' then redis.call('SET', KEYS[6], document, 'PX', ttl_ms) end
return 1
