-- Opens a round. KEYS: meta, wanted miners. ARGV: epoch, retention (ms), channel, plan, hotkeys...
-- Returns {1 applied | 0 already | -1 fenced, newest epoch seen here}.
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
if redis.call('HEXISTS', KEYS[1], 'stage') == 1 then return {0, fence} end
redis.call('HSET', KEYS[1], 'fence', ARGV[1], 'stage', 0, 'plan0', ARGV[4], 'want0', #ARGV - 4, 'done0', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
for i = 5, #ARGV do redis.call('SADD', KEYS[2], ARGV[i]) end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
redis.call('PUBLISH', ARGV[3], '')
return {1, ARGV[1]}
