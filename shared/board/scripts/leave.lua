-- Takes an interval off the list. KEYS: epoch, rounds. ARGV: ours, interval.
local newest = redis.call('GET', KEYS[1]) or '0'
if newest ~= ARGV[1] then return {-1, newest} end
redis.call('ZREM', KEYS[2], ARGV[2])
return {1, newest}
