<?php
// A nightly batch: a session for each participant on the command line. Ends with 1 if any could not be made.
require __DIR__ . '/create_session.php';

$failed = 0;
foreach (array_slice($argv, 1) as $participant) {
    [$status, $answer] = create_session($participant);
    // The authorized_url is as good as a password for 30 seconds: it does not belong in a log.
    $said = $status === 200 ? 'a session was made' : ($answer['detail'] ?? $answer['client_message'] ?? 'refused');
    echo "$participant: $status $said\n";
    $failed += $status === 200 ? 0 : 1;
}
exit($failed ? 1 : 0);
