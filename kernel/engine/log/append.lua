#!lua
-- Append a record with the server's own time. KEYS: the stream, its count of bytes, its seal. ARGV: the record.
-- Returns the stream's id, nil when the stream was never made, 'sealed' when it takes no more. Fields: t, ms; b, bytes of the lane up to and with
-- this record; d, the record.
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
if redis.call('EXISTS', KEYS[3]) == 1 then return 'sealed' end
local time = redis.call('TIME')
local ms = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
local bytes = redis.call('INCRBY', KEYS[2], #ARGV[1])
return redis.call('XADD', KEYS[1], 'NOMKSTREAM', '0-*', 't', ms, 'b', string.format('%.0f', bytes), 'd', ARGV[1])
