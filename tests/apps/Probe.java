// tests/apps/Probe.java — the program under test in Java: java.nio.file, HttpClient, InetAddress.
import java.net.InetAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermission;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.CRC32;

public class Probe {
  static String crc(byte[] bytes) {
    CRC32 crc = new CRC32();
    crc.update(bytes);
    return String.format("%08x", crc.getValue());
  }

  static void files(String top) throws Exception {
    List<Path> found;
    try (Stream<Path> walk = Files.walk(Path.of(top))) {
      found = new ArrayList<>(walk.filter(p -> Files.isRegularFile(p, LinkOption.NOFOLLOW_LINKS)).toList());
    }
    found.sort((a, b) -> Arrays.compareUnsigned(a.toString().getBytes(StandardCharsets.UTF_8),
                                               b.toString().getBytes(StandardCharsets.UTF_8)));
    for (Path path : found) {
      byte[] bytes = Files.readAllBytes(path);
      System.out.println(crc(bytes) + " " + Files.size(path) + " " + path);
    }
  }

  static void mapped(String path) throws Exception {
    try (FileChannel channel = FileChannel.open(Path.of(path))) {
      byte[] bytes = new byte[(int) channel.size()];
      channel.map(FileChannel.MapMode.READ_ONLY, 0, bytes.length).get(bytes);
      System.out.println(crc(bytes) + " " + bytes.length + " " + path);
    }
  }

  static int mode(Path path) throws Exception {
    int bits = 0;
    for (PosixFilePermission permission : Files.getPosixFilePermissions(path)) bits |= 0400 >> permission.ordinal();
    return bits;
  }

  static void threads(int count, String path) throws Exception {
    var pool = Executors.newFixedThreadPool(count);
    Callable<String> one = () -> crc(Files.readAllBytes(Path.of(path)));
    Set<String> results = new TreeSet<>();
    for (var result : pool.invokeAll(java.util.Collections.nCopies(count, one))) results.add(result.get());
    pool.shutdown();
    System.out.println(results.size() + " " + results.iterator().next());
  }

  public static void main(String[] args) throws Exception {
    switch (args[0]) {
      case "files" -> files(args[1]);
      case "mapped" -> mapped(args[1]);
      case "stat" -> {
        Path path = Path.of(args[1]);
        System.out.println(Files.size(path) + " " + Integer.toOctalString(mode(path)) + " "
            + Files.getLastModifiedTime(path).to(TimeUnit.SECONDS));
      }
      case "env" -> System.out.println(System.getenv(args[1]));
      case "resolve" -> {
        Set<String> found = new TreeSet<>();
        for (InetAddress address : InetAddress.getAllByName(args[1])) found.add(address.getHostAddress());
        System.out.println(String.join(" ", found));
      }
      case "get" -> {
        var answer = HttpClient.newHttpClient().send(
            HttpRequest.newBuilder(URI.create(args[1])).build(), HttpResponse.BodyHandlers.ofString());
        System.out.print(answer.body());
      }
      case "write" -> {
        Files.writeString(Path.of(args[1]), args[2]);
        System.out.println(Files.readString(Path.of(args[1])));
      }
      case "spawn" -> {
        Process child = new ProcessBuilder(Arrays.copyOfRange(args, 1, args.length)).start();
        System.out.print(new String(child.getInputStream().readAllBytes(), StandardCharsets.UTF_8));
        System.exit(child.waitFor());
      }
      case "threads" -> threads(Integer.parseInt(args[1]), args[2]);
      default -> System.exit(2);
    }
  }
}
