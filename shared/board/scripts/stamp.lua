-- Makes an interval refuse epochs below this one. KEYS: meta. ARGV: epoch, retention (ms).
-- Returns 1 when its round is open, else 0.
local fence = tonumber(redis.call('HGET', KEYS[1], 'fence') or '0')
if fence < tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'fence', ARGV[1]) end
local stage = redis.call('HGET', KEYS[1], 'stage')
if stage and stage ~= '9' then return 1 end
-- Only open rounds are kept without a time to live.
if redis.call('PTTL', KEYS[1]) == -1 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
