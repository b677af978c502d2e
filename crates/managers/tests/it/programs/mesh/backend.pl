# A slow service on 127.0.0.1: ten lines, one each 300 ms, or the size of what it was sent.
use strict;
use warnings;
use IO::Socket::INET;
$SIG{CHLD} = 'IGNORE';
my $server = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1', LocalPort => $ARGV[0], ReuseAddr => 1) or die;
while (my $client = $server->accept) {
	next if fork;
	my ($length, $path) = (0, '');
	while (my $line = <$client>) {
		$path = $1 if $line =~ m{^\w+ (\S+)};
		$length = $1 if $line =~ /^content-length: (\d+)/i;
		last if $line =~ /^\r?\n$/;
	}
	$client->autoflush(1);
	if ($path eq '/slow') {
		print $client "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
		for my $n (1 .. 10) { print $client "2\r\n" . ($n % 10) . "\n\r\n"; select undef, undef, undef, 0.3 }
		print $client "0\r\n\r\n";
	} elsif ($path =~ m{^/head/(\d+)$}) {
		# A head of so many bytes, in cookies.
		my ($head, $left) = ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n", $1);
		$left -= length($head) + 2;
		while ($left) {
			my $line = $left < 4000 ? $left : 3000;
			$head .= 'Set-Cookie: c=' . 'x' x ($line - 16) . "\r\n";
			$left -= $line;
		}
		print $client "$head\r\nok\n";
	} else {
		read($client, my $body, $length);
		my $answer = length($body // '') . "\n";
		print $client "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " . length($answer) . "\r\n\r\n$answer";
	}
	exit;
}
