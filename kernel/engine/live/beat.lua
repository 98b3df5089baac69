#!lua flags=allow-oom
-- Enter a member, forget whose time is over, list who is there. KEYS: members. ARGV: name, how long in ms (0: take out).
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', now + tonumber(ARGV[2])))
local names, held = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #held, 2 do
  if tonumber(held[i + 1]) > now then
    names[#names + 1] = held[i]
  else
    redis.call('HDEL', KEYS[1], held[i])
  end
end
return names
