-- Checks that the epoch leads and lists an interval. KEYS: epoch, rounds. ARGV: ours, interval, 'list' or 'check'.
-- Returns {1, newest} or {-1, newest}.
local newest = redis.call('GET', KEYS[1]) or '0'
if newest ~= ARGV[1] then return {-1, newest} end
if ARGV[3] == 'list' then redis.call('ZADD', KEYS[2], ARGV[2], ARGV[2]) end
return {1, newest}
