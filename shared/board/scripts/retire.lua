-- Forgets a round; only a mark stays. KEYS: meta, then every other key of the interval.
-- ARGV: epoch, retention (ms), channel. Returns {1 applied | 0 already | -1 fenced, newest epoch seen here}.
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
if redis.call('HGET', KEYS[1], 'stage') == '9' then return {0, fence} end
for k = 1, #KEYS do redis.call('UNLINK', KEYS[k]) end
redis.call('HSET', KEYS[1], 'stage', 9, 'fence', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], '')
return {1, ARGV[1]}
