-- Opens a round. KEYS: meta, wanted miners, then every other key that the round may have had before (its miners'
-- keys are cleared when its clip stage begins). ARGV: epoch, channel, plan, hotkeys...
-- Returns {1 applied | 0 already | 2 retired | -1 fenced, newest epoch seen here}. The keys of an open round have
-- no time to live: a round may be held open for days.
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
local stage = redis.call('HGET', KEYS[1], 'stage')
if stage == '9' then return {2, fence} end
if stage then return {0, fence} end
for k = 2, #KEYS do redis.call('UNLINK', KEYS[k]) end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'stage', 0, 'plan0', ARGV[3], 'want0', #ARGV - 3, 'done0', 0)
redis.call('PERSIST', KEYS[1])
for i = 4, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
redis.call('PUBLISH', ARGV[2], '')
return {1, ARGV[1]}
