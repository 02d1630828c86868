<?php
// Everything comes from the environment; nothing secret is written into the site's files.

define('DB_NAME', getenv('DB_NAME'));
define('DB_USER', getenv('DB_USER'));
define('DB_PASSWORD', getenv('DB_PASSWORD'));
define('DB_HOST', getenv('DB_HOST') ?: 'mariadb');
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
$table_prefix = 'wp_';

require __DIR__ . '/wp-salts.php';

// The site answers under its own name and under localhost, on whatever port it was published; other names get its own.
$host = $_SERVER['HTTP_HOST'] ?? '';
$name = preg_replace('/:\d+$/', '', $host);
$known = ['localhost', '127.0.0.1', getenv('DOMAIN_NAME')];
$site = 'https://' . (in_array($name, $known, true) ? $host : getenv('DOMAIN_NAME'));
define('WP_HOME', $site);
define('WP_SITEURL', $site);
$_SERVER['HTTPS'] = 'on';

// The page cache is shared with whoever runs the same site beside us, so its keys carry the database's name.
define('WP_REDIS_HOST', getenv('REDIS_HOST') ?: 'redis');
define('WP_CACHE_KEY_SALT', DB_NAME . ':');

define('AUTOMATIC_UPDATER_DISABLED', true);
define('DISALLOW_FILE_EDIT', true);
define('WP_HTTP_BLOCK_EXTERNAL', true);
define('DISABLE_WP_CRON', false);
define('WP_DEBUG', false);

if (!defined('ABSPATH')) {
    define('ABSPATH', __DIR__ . '/');
}
require_once ABSPATH . 'wp-settings.php';
