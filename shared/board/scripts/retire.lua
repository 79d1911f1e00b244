-- Forgets a round. KEYS: meta, then every other key of the interval. ARGV: epoch, retention (ms), channel, mark: the
-- stage of a retired round, or '' to leave none, so that the round can be opened again.
-- Returns {1 applied | 0 already | -1 fenced, newest epoch seen here}.
-- A key of another type is somebody else's doing; whoever removes the round was found to lead just before this.
local kind = redis.call('TYPE', KEYS[1]).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', KEYS[1]) end
local fence = redis.call('HGET', KEYS[1], 'fence') or '0'
if tonumber(ARGV[1]) < tonumber(fence) then return {-1, fence} end
local stage = redis.call('HGET', KEYS[1], 'stage') or ''
local already = stage == ARGV[4]
if already and stage == '9' then return {0, fence} end
for k = 1, #KEYS do redis.call('UNLINK', KEYS[k]) end
redis.call('HSET', KEYS[1], 'fence', ARGV[1])
if ARGV[4] ~= '' then redis.call('HSET', KEYS[1], 'stage', ARGV[4]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[3], '')
return {already and 0 or 1, ARGV[1]}
