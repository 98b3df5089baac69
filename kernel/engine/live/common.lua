-- Shared by the scripts of a lane. Every key of a lane begins with its slot tag: KEYS[1] is the header, `{l}h`.
local HEADER = KEYS[1]
local TAG = string.sub(HEADER, 1, -2)
local SLICE = 4000 -- arguments of one call; Lua's stack holds 8000

-- While the lane's slot moves to another node key by key, a key that is not here may be there: the server then refuses to
-- look for one. Looking for one that never is makes it refuse before anything was read or written.
redis.call('EXISTS', TAG .. 'never')

local at = 0
local function take()
  at = at + 1
  return ARGV[at]
end

-- Look up joined digests of one sub-hash; `generations` newest first, so the first entry met rules.
local function find(generations, sub, joined, hit)
  local digests, met = {}, {}
  for i = 1, #joined / 16 do digests[i] = string.sub(joined, 16 * i - 15, 16 * i) end
  for generation in string.gmatch(generations, '%d+') do
    local key = TAG .. 'k:' .. generation .. ':' .. sub
    if redis.call('EXISTS', key) == 1 then
      for first = 1, #digests, SLICE do
        local last = math.min(first + SLICE - 1, #digests)
        local entries = redis.call('HMGET', key, unpack(digests, first, last))
        for i = first, last do
          local entry = entries[i - first + 1]
          if entry and not met[i] then
            met[i] = true
            hit(i, digests[i], entry)
          end
        end
      end
    end
  end
end

-- Write the hashes that follow in ARGV: how many; each its name in the lane, its number of arguments, its arguments.
local function write_hashes()
  for _ = 1, tonumber(take()) do
    local key, count = TAG .. take(), tonumber(take())
    for first = at + 1, at + count, SLICE do
      redis.call('HSET', key, unpack(ARGV, first, math.min(first + SLICE - 1, at + count)))
    end
    at = at + count
  end
end
