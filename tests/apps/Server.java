// tests/apps/Server.java — an HTTP server that says whom it answers, and sends back what it is sent.
//
//   java Server PORT
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

public class Server {
  public static void main(String[] arguments) throws Exception {
    HttpServer server = HttpServer.create(new InetSocketAddress(Integer.parseInt(arguments[0])), 0);
    server.setExecutor(Executors.newFixedThreadPool(4));
    server.createContext("/", Server::answer);
    server.start();
  }

  private static void answer(HttpExchange exchange) throws java.io.IOException {
    InetSocketAddress peer = exchange.getRemoteAddress();
    byte[] body = exchange.getRequestBody().readAllBytes();
    if (body.length == 0) {
      body = ("local " + peer.getAddress().getHostAddress() + " " + peer.getPort() + "\n").getBytes();
    }
    exchange.sendResponseHeaders(200, body.length);
    exchange.getResponseBody().write(body);
    exchange.close();
  }
}
