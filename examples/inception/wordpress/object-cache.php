<?php
// WordPress's object cache, kept in Redis where there is one and in this request's memory where there is none.

class WP_Object_Cache
{
    private array $memory = [];
    private array $global_groups = [];
    private array $local_groups = ['counts' => true, 'plugins' => true];
    private ?Redis $redis = null;
    public int $cache_hits = 0;
    public int $cache_misses = 0;

    public function __construct()
    {
        if (!class_exists('Redis')) {
            return;
        }
        // Without the bonus profile the name does not resolve, and the site works without a shared cache.
        $host = gethostbyname(WP_REDIS_HOST);
        if ($host === WP_REDIS_HOST && !filter_var($host, FILTER_VALIDATE_IP)) {
            return;
        }
        try {
            $redis = new Redis();
            if ($redis->connect($host, 6379, 0.2)) {
                $redis->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
                $this->redis = $redis;
            }
        } catch (RedisException) {
        }
    }

    private function key($key, string $group): string
    {
        return WP_CACHE_KEY_SALT . ($group === '' ? 'default' : $group) . ':' . $key;
    }

    private function shared(string $group): bool
    {
        return $this->redis !== null && !isset($this->local_groups[$group]);
    }

    public function get($key, $group = 'default', $force = false, &$found = null)
    {
        $name = $this->key($key, $group);
        if (!$force && array_key_exists($name, $this->memory)) {
            $found = true;
            $this->cache_hits++;
            $value = $this->memory[$name];
            return is_object($value) ? clone $value : $value;
        }
        if ($this->shared($group)) {
            try {
                $packed = $this->redis->get($name);
                if (is_array($packed)) {
                    $found = true;
                    $this->cache_hits++;
                    return $this->memory[$name] = $packed[0];
                }
            } catch (RedisException) {
                $this->redis = null;
            }
        }
        $found = false;
        $this->cache_misses++;
        return false;
    }

    public function set($key, $value, $group = 'default', $expire = 0): bool
    {
        $name = $this->key($key, $group);
        $this->memory[$name] = is_object($value) ? clone $value : $value;
        if ($this->shared($group)) {
            try {
                // Wrapped in an array: a stored `false` is a value, not a miss.
                return $expire > 0 ? $this->redis->setex($name, (int) $expire, [$value]) : $this->redis->set($name, [$value]);
            } catch (RedisException) {
                $this->redis = null;
            }
        }
        return true;
    }

    public function add($key, $value, $group = 'default', $expire = 0): bool
    {
        if (function_exists('wp_suspend_cache_addition') && wp_suspend_cache_addition()) {
            return false;
        }
        $this->get($key, $group, false, $found);
        return $found ? false : $this->set($key, $value, $group, $expire);
    }

    public function replace($key, $value, $group = 'default', $expire = 0): bool
    {
        $this->get($key, $group, false, $found);
        return $found ? $this->set($key, $value, $group, $expire) : false;
    }

    public function delete($key, $group = 'default'): bool
    {
        $name = $this->key($key, $group);
        $had = array_key_exists($name, $this->memory);
        unset($this->memory[$name]);
        if ($this->shared($group)) {
            try {
                return $this->redis->del($name) > 0 || $had;
            } catch (RedisException) {
                $this->redis = null;
            }
        }
        return $had;
    }

    public function incr($key, $offset = 1, $group = 'default')
    {
        $value = $this->get($key, $group, false, $found);
        if (!$found) {
            return false;
        }
        $value = max(0, (is_numeric($value) ? $value : 0) + (int) $offset);
        $this->set($key, $value, $group);
        return $value;
    }

    public function flush(): bool
    {
        $this->memory = [];
        if ($this->redis !== null) {
            try {
                return $this->redis->flushDB();
            } catch (RedisException) {
                $this->redis = null;
            }
        }
        return true;
    }

    public function flush_runtime(): bool
    {
        $this->memory = [];
        return true;
    }

    public function close(): bool
    {
        $this->redis?->close();
        return true;
    }

    public function add_global_groups($groups): void
    {
        foreach ((array) $groups as $group) {
            $this->global_groups[$group] = true;
        }
    }

    public function add_non_persistent_groups($groups): void
    {
        foreach ((array) $groups as $group) {
            $this->local_groups[$group] = true;
        }
    }

    /** Whether values are shared through Redis. */
    public function connected(): bool
    {
        return $this->redis !== null;
    }
}

function wp_cache_init(): void
{
    $GLOBALS['wp_object_cache'] = new WP_Object_Cache();
}

function wp_cache_get($key, $group = '', $force = false, &$found = null)
{
    return $GLOBALS['wp_object_cache']->get($key, $group, $force, $found);
}

function wp_cache_set($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->set($key, $data, $group, (int) $expire);
}

function wp_cache_add($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->add($key, $data, $group, (int) $expire);
}

function wp_cache_replace($key, $data, $group = '', $expire = 0)
{
    return $GLOBALS['wp_object_cache']->replace($key, $data, $group, (int) $expire);
}

function wp_cache_delete($key, $group = '')
{
    return $GLOBALS['wp_object_cache']->delete($key, $group);
}

function wp_cache_incr($key, $offset = 1, $group = '')
{
    return $GLOBALS['wp_object_cache']->incr($key, $offset, $group);
}

function wp_cache_decr($key, $offset = 1, $group = '')
{
    return $GLOBALS['wp_object_cache']->incr($key, -$offset, $group);
}

function wp_cache_flush()
{
    return $GLOBALS['wp_object_cache']->flush();
}

function wp_cache_flush_runtime()
{
    return $GLOBALS['wp_object_cache']->flush_runtime();
}

function wp_cache_supports($feature)
{
    return $feature === 'flush_runtime';
}

function wp_cache_close()
{
    return $GLOBALS['wp_object_cache']->close();
}

function wp_cache_add_global_groups($groups)
{
    $GLOBALS['wp_object_cache']->add_global_groups($groups);
}

function wp_cache_add_non_persistent_groups($groups)
{
    $GLOBALS['wp_object_cache']->add_non_persistent_groups($groups);
}

function wp_cache_switch_to_blog($blog_id)
{
}
