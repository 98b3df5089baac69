#!lua
-- Make an empty stream, unless it is there. KEYS: the stream.
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
redis.call('XGROUP', 'CREATE', KEYS[1], 'made', '0', 'MKSTREAM')
redis.call('XGROUP', 'DESTROY', KEYS[1], 'made')
return 1
