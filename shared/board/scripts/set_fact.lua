-- Writes a fact. KEYS: epoch, fact. ARGV: ours, value, retention (ms), channel.
local newest = redis.call('GET', KEYS[1]) or '0'
if newest ~= ARGV[1] then return {-1, newest} end
redis.call('SET', KEYS[2], ARGV[2], 'PX', ARGV[3])
redis.call('PUBLISH', ARGV[4], '')
return {1, newest}
