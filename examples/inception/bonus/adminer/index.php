<?php
// Adminer with the stack's database server filled in.
if (!isset($_GET['server']) && !isset($_GET['username']) && !$_POST && !isset($_GET['file'])) {
    header('Location: ?server=mariadb&username=');
    exit;
}
require '/usr/share/adminer/adminer.php';
