-- Posts a miner's report. KEYS: meta, wanted miners, results, late results.
-- ARGV: hotkey, result, channel. Returns 0 first, 1 duplicate, 2 late, 3 unknown.
local stage = redis.call('HGET', KEYS[1], 'stage')
if not stage or stage == '9' then return 3 end
if redis.call('SISMEMBER', KEYS[2], ARGV[1]) == 0 then return 3 end
if redis.call('HEXISTS', KEYS[3], ARGV[1]) == 1 then return 1 end
if stage ~= '0' then
  if redis.call('HSETNX', KEYS[4], ARGV[1], ARGV[2]) == 0 then return 1 end
  return 2
end
redis.call('HSET', KEYS[3], ARGV[1], ARGV[2])
local done = redis.call('HINCRBY', KEYS[1], 'done0', 1)
if done == tonumber(redis.call('HGET', KEYS[1], 'want0')) then redis.call('PUBLISH', ARGV[3], '') end
return 0
