<?php
// Installs WordPress into an empty database and makes its two users; does nothing where that has been done.

define('WP_INSTALLING', true);
$_SERVER['HTTP_HOST'] = getenv('DOMAIN_NAME');
require '/var/www/html/wp-load.php';
require ABSPATH . 'wp-admin/includes/upgrade.php';

if (!is_blog_installed()) {
    wp_install(
        getenv('WP_TITLE'),
        getenv('WP_OWNER'),
        getenv('WP_OWNER_EMAIL'),
        true,
        '',
        wp_slash(getenv('WP_OWNER_PASSWORD'))
    );
    fwrite(STDERR, "WordPress installed\n");
}

if (!username_exists(getenv('WP_USER'))) {
    $made = wp_insert_user([
        'user_login' => getenv('WP_USER'),
        'user_email' => getenv('WP_USER_EMAIL'),
        'user_pass' => getenv('WP_USER_PASSWORD'),
        'role' => 'author',
    ]);
    if (is_wp_error($made)) {
        fwrite(STDERR, 'cannot make the user ' . getenv('WP_USER') . ': ' . $made->get_error_message() . "\n");
        exit(1);
    }
}
